"""Who offers what, who wants what, and who fits whom?"""
