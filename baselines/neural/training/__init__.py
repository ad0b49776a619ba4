"""Training of a checkpoint from photographs by a recipe; needs few packages besides torch."""
