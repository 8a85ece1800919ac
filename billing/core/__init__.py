"""The arithmetic of money: pure functions without Django, clock or chance. Whoever needs "now" hands it in."""
