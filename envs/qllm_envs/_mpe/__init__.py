"""The particle world: modules that `mpe_spread`, `mpe_tag` and `mpe_adversary` share."""
