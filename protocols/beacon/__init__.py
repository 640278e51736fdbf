"""Public randomness: which round belongs to which second, is it genuine, and who waits for it?"""
