"""What is asked of a stage unless more is said; light, as every command imports it."""

LAST_MIN, BEFORE_MIN = 5.0, 120.0
"""Minutes of trouble up to now, and those before them, which say what is usual."""

NOT_OF_STAFF = "of what staff answer only sums are shown, and nothing that few of them have in common"
