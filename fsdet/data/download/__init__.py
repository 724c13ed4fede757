"""Published data sets from their hosts."""
