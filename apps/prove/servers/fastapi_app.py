"""A chat server with FastAPI and SQLAlchemy for the tests of `prove`. The model is a slow generator."""
import asyncio
import socket
import sys

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import sessionmaker

engine = create_async_engine(sys.argv[1].replace("postgres://", "postgresql+asyncpg://"), pool_size=20)
Session = sessionmaker(engine, class_=AsyncSession)
app = FastAPI()


async def get_session():
    async with Session() as session:
        yield session


async def ask_model():
    for token in range(300):
        yield f"data: {token}\n\n"
        await asyncio.sleep(0.2)


@app.get("/")
async def cheap():
    return {"status": "ok"}


@app.post("/held")
async def held(session: AsyncSession = Depends(get_session)):
    await session.execute(text("select 1"))
    return StreamingResponse(ask_model(), media_type="text/event-stream")


@app.post("/free")
async def free():
    async with Session() as session:
        await session.execute(text("select 1"))
    return StreamingResponse(ask_model(), media_type="text/event-stream")


listening = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listening])
