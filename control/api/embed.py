# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors

"""The API's description as a C array: embed.py OPENAPI DROP_REASONS OUT.

The names of the drop reasons become the enum of schema DropReasonName, so that a new reason needs
no second edit."""

import json
import re
import sys

source, reasons, target = sys.argv[1:]
with open(source, encoding="utf-8") as f:
    document = json.load(f)
with open(reasons, encoding="utf-8") as f:
    names = re.findall(r"^DROP_REASON\((\w+),", f.read(), re.MULTILINE)
document["components"]["schemas"]["DropReasonName"]["enum"] = names
data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
with open(target, "w", encoding="utf-8") as f:
    f.write("extern const unsigned char openapi_json[];\n")
    f.write("extern const unsigned int openapi_json_len;\n")
    f.write("const unsigned char openapi_json[] = {\n")
    for i in range(0, len(data), 16):
        f.write("\t" + ", ".join(str(b) for b in data[i : i + 16]) + ",\n")
    f.write("};\nconst unsigned int openapi_json_len = sizeof(openapi_json);\n")
