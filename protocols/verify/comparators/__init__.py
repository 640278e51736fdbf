"""Are two outputs the same, at the level that a deal names? One function per level, and one that chooses."""

from protocols.verify.comparators.by_level import compare, compare_replicas
from protocols.verify.comparators.canonical import canonical_form, is_canonicaliser
from protocols.verify.comparators.numeric import Tolerance, numeric
from protocols.verify.comparators.outputs import MAX_ELEMENTS, MAX_FILES, Comparison, Content, Output
from protocols.verify.comparators.perceptual import Likeness, hash64, perceptual, similarity_ppm

__all__ = [
    "MAX_ELEMENTS",
    "MAX_FILES",
    "Comparison",
    "Content",
    "Likeness",
    "Output",
    "Tolerance",
    "canonical_form",
    "compare",
    "compare_replicas",
    "hash64",
    "is_canonicaliser",
    "numeric",
    "perceptual",
    "similarity_ppm",
]
