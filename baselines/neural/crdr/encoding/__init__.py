"""What CRDR's encoder decides for one image: its latents, its rate level, its stream."""
