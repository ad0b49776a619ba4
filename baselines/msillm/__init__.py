"""MS-ILLM as a contender, by the networks of the package neuralcompression."""
