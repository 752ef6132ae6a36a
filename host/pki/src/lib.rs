//! Who is who in a cluster: its authority, the certificates of its managers and nodes, and the tokens that let one join.
