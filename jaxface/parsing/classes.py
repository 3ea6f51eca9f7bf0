"""The classes of pixels."""

CLASSES = ("face", "hair", "other", "background")
"""`face`: skin of face, ears, neck and bald scalp, eyes, teeth, lips, brows, beard; skin behind
clear glass. `hair`: of the head, strands before the face included. `other`: glasses, hats, cloth,
hands, whatever else is on or before a person. `background`: the rest."""
FACE, HAIR, OTHER, BACKGROUND = range(len(CLASSES))
FACIAL_HAIR = ("beard", "brows")
"""What comes after the classes: the parts of `face` that are beard (moustache and stubble, too) and
brows."""
BEARD, BROWS = (len(CLASSES) + k for k in range(len(FACIAL_HAIR)))
