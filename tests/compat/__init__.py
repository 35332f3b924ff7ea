"""Callboard with the programs around it in the world: poolers, proxies, other versions of its servers."""
