"""Single models: native weights under genuine diffusers and transformers modules.

``files`` finds the weight files that stock would take, ``weights`` and ``batch`` load them natively,
``diffusers_model`` and ``transformers_model`` put them into modules, ``reader`` serves stock's own loading code where
it has to place the tensors itself, ``loading`` chooses between all of these for one call of ``from_pretrained``.
"""
