#!/usr/bin/env python3
"""Checks that README.md shows the code that examples/predict.cu compiles.

    readme_matches.py README.md examples/predict.cu
"""

import re
import sys
from pathlib import Path

readme, source = (Path(argument).read_text() for argument in sys.argv[1:])
shown = re.search(r"^```cpp\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
compiled = re.search(r"^// README begins\.\n(.*?)^// README ends\.$", source, re.MULTILINE | re.DOTALL)
if not shown or not compiled:
    sys.exit("no ```cpp block in the first file, or no lines 'README begins.' and 'README ends.' in the second")
if shown[1] != compiled[1]:
    sys.exit("the first ```cpp block is not the marked part of the source")
