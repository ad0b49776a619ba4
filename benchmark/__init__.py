"""The harness: real bitstreams of any codec, decoded from the bytes, scored, stored, drawn."""
