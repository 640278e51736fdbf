"""When are two results the same, who looks, and does honesty pay? Pure rules of verification."""
