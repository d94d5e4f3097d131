"""Couriers: modules of `couriers`: rules and views."""
