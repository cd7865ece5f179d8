"""How much the certificates allow for rounding."""

# A bound times this is above what float64 rounds in products, sums and roots
# over any graph that is worth a bound.
FLOAT64 = 1 + 1e-9

# What float32 may have rounded in a forward pass, relative to the outputs;
# an estimate, as no proof holds for every order of summation.
FLOAT32 = 1e-6
