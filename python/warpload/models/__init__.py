"""Single models: native weights under genuine diffusers and transformers modules.

``model_load`` chooses for one call of ``from_pretrained``: ``native_load`` where the core loads, by the rules that
``stock`` knows, or ``stock_load`` where the library does and ``reader`` serves its code. ``weights`` are the tensors of
one model, ``joint_load`` those of several at once. ``single_file`` and ``adapters`` are stock's, read by the core.
"""
