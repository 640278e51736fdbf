"""How are files named by content, and how does a peer pull them block by block?"""
