/**
 * Words that say nothing about the subject of a question, by language. Among them are the words of asking itself
 * (tell, explain, need): an answer seldom repeats them.
 */
const functionWords = {
  english: `a about above after all also although always am an and any are as ask at away be because been before being
    below between both but by can cannot could detail details did didn do document documents does doesn doing don done
    down during each either else ever every exactly explain few find first for from get gets getting give go goes got
    had happen happens has hasn hello hey hi have haven having he help her here hers him his how i if in information into is isn it
    its itself just kind know let like list long made make makes many may me mean meaning means meant might mine more most much
    must my need needed needs neither no nor not of off often on one only or other ought our out over own per
    please possible question quite rather really receive say says shall she should show sir so some somebody someone something
    sort still such take tell text than thank thanks that the their them then there these they thing things this those
    through to too under until up upon us use used uses using very via want wants was we well were what whatever when
    whenever where whether which while who whom whose why will with within without won work works would yes yet you
    your yours`,
  german: `aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bin bis bist bitte da
    dabei dafür damit dann darf das dass dein dem den denn der des deshalb die dies diese diesem diesen dieser dieses doch dort
    du durch ein eine einem einen einer eines er es etwas euch euer für gegen gibt haben habe hat hatte heißt hier hoch ich
    ihm ihn ihr ihre ihrem ihren im in ins ist ja jede jedem jeden jeder jedes jetzt kann kannst kein keine keinem
    keinen können könnte man mal mehr mein meine mich mir mit muss müssen nach nicht nichts noch nun nur ob
    oder oft ohne sehr sein seine sich sie sind so soll sollen sollte sondern über um und uns unser unter viel viele
    vom von vor wann war waren warum was weil welche welchem welchen welcher welches wem wen wenn wer werden wessen wie
    wieso will wir wird wo wofür woher wohin womit wozu wurde würde zu zum zur zwischen alt bedeutet bedeuten
    funktioniert benutzen brauche brauchen braucht`,
  french: `à afin ai ainsi alors après as au aucun aussi autre autres aux avant avec avoir c ça car ce cela ces cet cette
    chaque chez combien comme comment d dans de depuis des dois doit donc dont du elle elles en encore entre es est et
    être eu faire fait faut font il ils j je jusqu l la là le les leur leurs lorsque lui m ma mais me même mes moi mon
    n ne ni non nos notre nous on ont ou où par parce pas peu peut peuvent plus pour pourquoi puis qu quand que quel
    quelle quelles quels qui quoi s sa sans se sera ses si signifie son sont sous sur t ta te tes toi ton tous tout
    toute toutes tu un une vers veut vos votre vous y`,
  spanish: `a al algo algún alguna ante antes aquí así aunque bien cada como cómo con cual cuál cuáles cualquier cuando
    cuándo cuanta cuánta cuantas cuántas cuanto cuánto cuantos cuántos de debe deben debo del desde donde dónde durante
    e el él ella ellas ellos en entre era es esa ese eso esta está están estar este esto estos fue ha hace hacer hacia
    han hasta hay la las le les lo los más me mi mis mucho muy nada ni no nos nosotros o os otra otro para pero poco
    por porque pues puede pueden puedo que qué quien quién quiénes se según ser si sí sido significa sin sobre son su
    sus también tan te tener tengo ti tiene tienen todo todos tu tus un una uno unos usted ustedes y ya yo`,
  italian: `a ad ai al alla alle anche c che chi ci come con così cosa cui da dal dalla degli dei del della delle devo di
    dove e è essere fa fare gli ha hanno ho i il in io la le lei lo loro lui ma mi mio nei nel nella noi non o per
    perché più può qual quale quali quando quanti quanto questa questo se sei si sono su sul sulla tra un una uno voi`,
  chinese: `的 了 是 在 吗 呢 吧 啊 什么 多 怎么 怎样 怎么样 如何 多少 多久 多长 哪 哪个 哪些 哪里 哪儿 谁 为什么 为何 我 你 您 他
    她 它 我们 你们 他们 有 没有 和 与 及 或 可以 能 能否 会 要 需要 应该 由 被 把 对 从 到 于 这 那 这个 那个 几 个 请 请问 一下
    长 时间 吗 将 还 都 就 也 不`,
  arabic: `ما ماذا هو هي هل من في على إلى عن مع كم كيف لماذا متى أين أي أية أن إن لا لم لن هذا هذه ذلك تلك التي الذي كان كانت
    يكون عند بعد قبل أو ثم قد كل بين هم هنا هناك لي لك له لها و`,
  russian: `а без бы был была были было быть в вам вас во вот все всё вы где да для до его ее её если есть еще ещё же за
    и из или им их к как какая какие какой когда кого кто ли мне можно мы на надо нам нас не нет но ну о об он она они
    от по под почему при с сколько со так там то у уже чего чем что чтобы эта эти это этот я`,
} as const

/** The lists, each as a set of folded words; `fold` is given so that lists and texts are folded alike. */
export function createFunctionWords(fold: (text: string) => string): ReadonlySet<string>[] {
  return Object.values(functionWords).map((list) => new Set(list.split(/\s+/).map(fold)))
}
