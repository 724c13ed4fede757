"""Published fine-tuning methods: heads trained on the support by gradient steps."""
