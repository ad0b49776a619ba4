"""PQ-MIM: product-quantised latents, coded with a masked transformer (El-Nouby et al., 2023)."""
