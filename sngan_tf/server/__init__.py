"""A server of generators: TensorFlow Serving's REST, pictures and a page.

`models` is what is served, `batching` runs it, `tensorflow_rest` and `pictures`
are what can be asked for, `app` puts them together and `run` on a socket.
"""
