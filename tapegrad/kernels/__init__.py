"""What Numba compiles: adjoint kernels made from rules, and the loop of the native replay.

Nothing here is imported until a replay is long enough to earn the import of Numba.
"""
