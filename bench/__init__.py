"""tapegrad's benchmarks: `python -m bench` prints tables of medians and of ratios to torch.

See README.md beside this file for how to run them and how to read what they print.
"""
