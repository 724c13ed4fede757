"""Few-shot learners behind one interface."""
