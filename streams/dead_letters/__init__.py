"""Dead letters: listed, shown, sent again."""
