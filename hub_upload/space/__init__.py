"""A demonstration in the browser, as a Space on the Hub or on your own machine."""
