import { Conversation } from "@/components/Conversation";

export default async function Page({ params }: PageProps<"/messages/[id]">) {
  const { id } = await params;
  return <Conversation key={id} id={id} />;
}
