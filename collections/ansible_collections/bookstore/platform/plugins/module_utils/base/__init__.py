"""What all other packages may use: waiting, ids of failures, the environment of programs, processes, kept proofs. Uses none of them."""
