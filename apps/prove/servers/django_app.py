"""A chat server with asynchronous Django views for the tests of `prove`. The model is a slow generator."""
import asyncio
import socket
import sys
from urllib.parse import unquote, urlparse

import django
import uvicorn
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import connection
from django.http import HttpResponse
from django.urls import path

url = urlparse(sys.argv[1])
database = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": url.path[1:],
    "USER": unquote(url.username or ""),
    "PASSWORD": unquote(url.password or ""),
    "HOST": url.hostname,
    "PORT": url.port,
}
settings.configure(ROOT_URLCONF=__name__, DATABASES={"default": database}, ALLOWED_HOSTS=["*"], SECRET_KEY="test")
django.setup(set_prefix=False)


def load():
    with connection.cursor() as cursor:
        cursor.execute("select 1")


async def ask_model():
    for token in range(300):
        yield f"data: {token}\n\n".encode()
        await asyncio.sleep(0.2)


async def cheap(request):
    return HttpResponse("ok")


async def held(request):
    await sync_to_async(load)()
    response = HttpResponse(content_type="text/event-stream")
    response.stream = ask_model()
    return response


async def free(request):
    await sync_to_async(load)()
    await sync_to_async(lambda: connection.close())()
    response = HttpResponse(content_type="text/event-stream")
    response.stream = ask_model()
    return response


class Handler(ASGIHandler):
    """Uses a thread per request and streams from asynchronous generators, as Django itself does since 4.2."""

    async def __call__(self, scope, receive, send):
        async with ThreadSensitiveContext():
            await super().__call__(scope, receive, send)

    async def send_response(self, response, send):
        if not hasattr(response, "stream"):
            return await super().send_response(response, send)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in response.stream:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})
        await sync_to_async(response.close)()


urlpatterns = [path("", cheap), path("held", held), path("free", free)]

listening = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(Handler(), log_level="error", lifespan="off")).run([listening])
