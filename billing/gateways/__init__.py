"""The payment providers, each behind one module: what they say becomes our errors and small values of our own."""
