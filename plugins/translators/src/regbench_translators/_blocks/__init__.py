"""Parts that several translators are built of."""
