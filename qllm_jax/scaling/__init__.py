"""Many runs: memory plan, groups, hosts."""
