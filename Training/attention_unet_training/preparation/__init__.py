"""Real CTs with reference labels -> one prepared dataset that training and evaluation read.

``layouts`` knows how public datasets lie on disk, ``organ_names`` which labels mean which organ, ``alignment`` whether
labels fit their CT, ``case`` makes one case, ``dataset`` all of them, ``intensity`` measures their mean
and deviation where that is asked for, ``prepared`` reads the result.
"""
