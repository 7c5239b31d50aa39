"""The figures and fitted bands of `scorer.evaluation`, each against an independent, slower way to them."""
