"""A fake of Antigravity's language server in a process of its own: loopback TLS, three methods, a token.

Run as `language_server_linux_x64 THIS_FILE --csrf_token TOKEN ...`; MODE says how old it is. Prints its port.
"""

import json
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MODE = os.environ["MODE"]
TOKEN = sys.argv[sys.argv.index("--csrf_token") + 1] if "--csrf_token" in sys.argv else None
MODELS = [
    {
        "label": "Claude Sonnet 4.6 (Thinking)",
        "modelOrAlias": {"model": "MODEL_1"},
        "quotaInfo": {"remainingFraction": 0.85, "resetTime": "2026-02-28T16:53:08Z"},
    },
    {"label": "Gemini 3.1 Pro (High)", "quotaInfo": {"remainingFraction": 0.2, "resetTime": "1771917948"}},
    {"label": "Gemini 3 Flash", "quotaInfo": {"resetTime": "2026-02-28T16:53:08.5Z"}},
    {"label": "No quota"},
    {"label": " ", "quotaInfo": {"remainingFraction": 1}},
    None,
]
GROUPS = [
    {
        "displayName": "Gemini",
        "buckets": [
            {"bucketId": "gemini-weekly", "displayName": "Weekly limit", "remainingFraction": 0.5},
            {"bucketId": "gemini-5h", "remaining": {"remainingFraction": 0.25}, "resetTime": "2026-02-24T02:00:00Z"},
        ],
    },
    {
        "displayName": "Claude and GPT",
        "buckets": [
            {"bucketId": "3p-weekly", "disabled": True, "remainingFraction": 1},
            {"displayName": "Five-hour limit", "remaining": {"case": "remainingFraction", "value": 1}},
            {"displayName": "Obsessions biweekly", "remaining": {"case": "other", "value": 1}},
        ],
    },
]
STATUS = {
    "code": 0,
    "userStatus": {
        "email": "Me@Example.com",
        "userTier": {"id": "g1-pro", "name": "Google AI Pro"},
        "planStatus": {"planInfo": {"planName": "Pro"}},
        "cascadeModelConfigData": {"clientModelConfigs": MODELS},
    },
}
ANSWERS = {
    "new": {"RetrieveUserQuotaSummary": {"response": {"groups": GROUPS}}, "GetUserStatus": STATUS},
    "old": {"GetUserStatus": {**STATUS, "code": "OK"}},
    "oldest": {"GetCommandModelConfigs": {"clientModelConfigs": MODELS}},
    "signed out": {"GetUserStatus": {"code": 16, "message": "unauthenticated"}, "GetCommandModelConfigs": {"code": 16}},
    "no probe": {"GetUserStatus": STATUS},
    "bare summary": {"RetrieveUserQuotaSummary": {"code": "success", "groups": GROUPS}},
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.removeprefix("/exa.language_server_pb.LanguageServerService/")
        if TOKEN and self.headers["X-Codeium-Csrf-Token"] != TOKEN:
            self.reply(401, {"message": "missing CSRF token"})
        elif self.headers["Connect-Protocol-Version"] != "1":
            self.reply(400, {"message": "not Connect"})
        elif method == "GetUnleashData" and MODE != "no probe":
            self.reply(200, {})
        elif method == "RetrieveUserQuotaSummary" and body != {"forceRefresh": True}:
            self.reply(400, {})
        elif method in ANSWERS[MODE]:
            self.reply(200, ANSWERS[MODE][method])
        else:
            self.reply(404, {"code": "unimplemented"})

    def reply(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
if os.environ.get("TLS", "yes") == "yes":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("loopback.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
sys.stdout.write(f"{server.server_port}\n")
sys.stdout.flush()
server.serve_forever()
