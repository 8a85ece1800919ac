"""How dates are written where Django writes them by itself, the operators' admin above all."""
