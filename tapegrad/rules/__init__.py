"""The declarations of all operators: what each computes and how it is differentiated, by family."""
