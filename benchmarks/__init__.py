"""Accuracy and speed on clips with ground truth, compared with a baseline on the same machine.

Belongs here: measurements and their output. The product does not import this package.
"""
