"""Accuracy and speed on clips with ground truth, beside the plain baseline, in one run on one machine.

Belongs here: what is measured and how it is printed. Nothing of the product imports it.
"""
