"""The gates: Great Expectations decides, inside the warehouse, what may pass.

Source checks judge what each source delivered, the candidate audit judges what each trait model made, and a waiver is
a person's word that an unusual candidate is right.
"""
