"""The structures that MuscleMap's whole-body model labels besides those of the paper: they become background.

Source: the label table of MuscleMap's documentation (muscle anatomy), whole-body model of 99 structures.
"""

_SIDED = {
    110: "levator scapulae",
    111: "semispinalis cervicis and multifidus",
    112: "semispinalis capitis",
    113: "splenius capitis",
    114: "sternocleidomastoid",
    115: "longus colli",
    116: "trapezius",
    210: "supraspinatus",
    211: "subscapularis",
    212: "infraspinatus",
    214: "deltoid",
    410: "rhomboid",
    514: "latissimus dorsi",
    610: "gluteus minimus",
    611: "gluteus medius",
    612: "gluteus maximus",
    613: "tensor fasciae latae",
    614: "iliacus",
    615: "ilium",
    617: "femur",
    618: "piriformis",
    619: "pectineus",
    620: "obturator internus",
    621: "obturator externus",
    622: "gemelli and quadratus femoris",
    710: "vastus lateralis",
    711: "vastus intermedius",
    712: "vastus medialis",
    713: "rectus femoris",
    714: "sartorius",
    715: "gracilis",
    716: "semimembranosus",
    717: "semitendinosus",
    718: "biceps femoris long head",
    719: "biceps femoris short head",
    720: "adductor magnus",
    721: "adductor longus",
    722: "adductor brevis",
    810: "anterior compartment of the leg",
    811: "deep posterior compartment of the leg",
    812: "lateral compartment of the leg",
    813: "soleus",
    814: "gastrocnemius",
    815: "tibia",
    816: "fibula",
}
"""The first three digits of a code; the last is 1 for left and 2 for right."""

OTHER_CODES = {6160: "sacrum"}
OTHER_CODES |= {10 * code + 1: f"{name} left" for code, name in _SIDED.items()}
OTHER_CODES |= {10 * code + 2: f"{name} right" for code, name in _SIDED.items()}
"""Code -> name."""
