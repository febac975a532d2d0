"""The library: its tables, and the rules of naming, intake and retention. The one wing of the domain that knows
tables.
"""
