"""Documents that customers are sent. `sheet` says what they say, `pdf` draws it, `einvoice` writes it for programs."""
