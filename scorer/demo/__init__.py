"""The demo: simulated payments and real messages, the training of two models, and the show that streams them.

The only room, with `bundle`, that may use scikit-learn, and the only one that trains; it is the example of how to pack.
"""
