"""The detector as a user imports it: load, register, predict, save."""
