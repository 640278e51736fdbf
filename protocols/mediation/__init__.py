"""What does a mediator's node know of a dispute in which it sits, and how does it come to know it?

``gossip`` checks who says that it has a case, ``case`` checks the case itself, ``access`` says who may have which bytes,
``book`` is what is remembered meanwhile, ``earnings`` what it brought. `protocols.disputes` has the rules of the panel.
"""

__all__: list[str] = []
