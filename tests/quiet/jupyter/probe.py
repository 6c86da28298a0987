"""Starts a kernel, runs a cell in it, ends it."""
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
client.execute_interactive("import numpy, pandas; print(pandas.DataFrame({'a': numpy.arange(3)}))", timeout=60)
client.stop_channels()
manager.shutdown_kernel(now=True)
