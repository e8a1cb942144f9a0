"""How good a bundle is, beside classical methods: tables and pictures."""
